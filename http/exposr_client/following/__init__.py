"""Following a trainer: asking for news and fetching it, blocking and with asyncio."""
