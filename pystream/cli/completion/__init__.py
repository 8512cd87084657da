"""What the shell is offered: commands, options and live names, without loading what they belong to."""
