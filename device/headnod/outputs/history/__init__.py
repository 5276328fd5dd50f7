"""History: what was heard, kept in one SQLite file.

The history sink writes it while `headnod history` reads it: `file` says what the
file is and who may touch it, `rows` what goes in and comes out, `show` how a
person or a program sees it. Nothing else of headnod imports sqlite3.
"""
