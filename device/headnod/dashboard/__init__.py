"""The dashboard: all listeners of a broker on one page.

It is a program of its own that subscribes to what listeners publish, keeps the last
hours of each, and sends them to browsers. No other command loads it.
"""
