"""What the tests share: servers, machines, sounds and small bundles, one module for each."""
