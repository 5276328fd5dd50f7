"""The dashboard: every listener that a broker knows of, live on one page.

It is a program of its own beside the listener: it hears over MQTT what
listeners publish, remembers the last hours of each, and tells browsers. The
broker's password stays here. Nothing of it is loaded by another command.
"""
