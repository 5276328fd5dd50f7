"""Audio sources: microphones, files, pipes and web radios, as mono blocks of float32."""
