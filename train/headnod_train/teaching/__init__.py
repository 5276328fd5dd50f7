"""New genres for a shipped network: its last layer is fitted to a folder of music, everything before it stays."""
