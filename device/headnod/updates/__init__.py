"""Model updates: bundles are verified, tested in a subprocess, activated on probation, and rolled back if they fail.

A TFLite file is a program, and its runtime detects neither corruption nor malice. Nothing of a bundle is parsed before
its signature is verified, and the listener runs no model that has not run in a process that may crash.
"""
