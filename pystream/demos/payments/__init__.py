"""A day of card payments, with fraud put in: generated, streamed through a topic, counted at the other end."""
