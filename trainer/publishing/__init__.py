"""How a version becomes visible: card, report, registry."""
