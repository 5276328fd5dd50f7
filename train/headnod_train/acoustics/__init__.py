"""Simulated acoustics in mel power: rooms, loudspeakers, microphones and other sounds.

An archive has no waveform, so every transform acts on mel power: a frozen dataclass of ranges with one method,
`apply`. Training and evaluation share the transforms, but neither ranges nor seeds.
"""
