"""What is looked at before anything is sent, and how long it will take."""
