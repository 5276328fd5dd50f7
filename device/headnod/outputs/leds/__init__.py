"""LEDs and lamps: GPIO pins, SPI strips and WLED."""
