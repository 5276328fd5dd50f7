"""Classical methods and the script's network, on the same split as the model that is shipped."""
