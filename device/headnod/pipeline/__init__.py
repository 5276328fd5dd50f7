"""From blocks of audio to estimates, songs and verdicts on whole files."""
