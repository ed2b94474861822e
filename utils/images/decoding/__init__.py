"""From the bytes of a picture to its pixels: one contract for whoever reads pictures (docs/data-folder.md, "Decoding").

`utils/pictures` and `exposr_client/pictures` are the same files, so that the client installs alone and still sees the
very pixels that the training saw; a test holds them equal. Nothing here imports anything of either package, and
imports are relative, so that the text can be the same.

1. The first bytes say the format (`kinds`), never the name.
2. Side data (EXIF, XMP, text, colour profiles, thumbnails) is cut out before a decoder sees it (`side_data`, `tiff`,
   `boxes`): broken or huge, it cannot keep a picture from being read. Colour profiles are not applied.
3. The first or primary picture is decoded completely, in its own mode.
4. It is turned upright: by the EXIF orientation (JPEG, PNG, WebP, TIFF, JPEG inside JPEG XL) or by what the container
   says and the decoder applies (AVIF, HEIF, JPEG XL).
"""
