"""Distillation data: windows of real waveforms, clean and degraded, with a second teacher's scores."""
