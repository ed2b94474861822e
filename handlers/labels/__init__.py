"""What label a picture has: folders, metadata, and what people have said."""
