"""Import of music collections into log-mel archives, with the front end of the device."""
