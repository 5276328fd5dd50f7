"""From blocks of audio to estimates, songs and genres of files."""
