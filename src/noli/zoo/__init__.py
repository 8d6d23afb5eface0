"""Small networks that train on two CPU cores."""
