"""What lies between a recording and a listener: rooms, loudspeakers, microphones and other sounds.

An archive holds no waveform, so all of it happens in mel power. Each change is
a frozen struct of ranges with one method, `apply`; training and evaluation share
these and nothing else: not the ranges, not the seeds.
"""
