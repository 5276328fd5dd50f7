"""Models that come from elsewhere: signed, tried in a process of their own, and taken back if they fail.

A TFLite file is a program, and its runtime notices neither corruption nor malice.
So nothing of a bundle is parsed before its signature is verified, and nothing of
it runs in the listener before it ran in a process that may crash.
"""
