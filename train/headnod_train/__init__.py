"""headnod_train: what runs on the workstation.

Music becomes features through the device's own front end, features train a
network, the network becomes a signed bundle that a listener can use. Nothing in
the device package imports anything of this one.
"""
