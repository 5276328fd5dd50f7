"""Audio in: files, raw samples and microphones, all as blocks of mono float32."""
