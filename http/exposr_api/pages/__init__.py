"""What every page shares: the layout, its words, style and scripts, and how a page is made of a template."""
