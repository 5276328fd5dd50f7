"""A genre network that starts from a published tagger: pruned, laid out for a small processor, distilled, in int8."""
