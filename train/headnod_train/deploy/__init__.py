"""From a bundle to the listeners: keys, signatures, and a rollout that stops when it should."""
