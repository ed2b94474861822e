"""The shortcut audit: can the label be guessed without looking at what generators leave behind?"""
