"""Music in: collections found on disk, heard by the device's front end, and written as one archive."""
