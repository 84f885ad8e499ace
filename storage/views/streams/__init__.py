"""What the web reads of streams."""
