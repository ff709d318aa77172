"""What training and serving share: the served model unpickles classes of this package."""
