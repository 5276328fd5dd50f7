"""The page: one listener without a broker, or all listeners of a broker.

It runs in a process of its own, `headnod dashboard` or the one that `headnod listen --web` starts, keeps the last
hours of each listener, and sends them to browsers.
"""
