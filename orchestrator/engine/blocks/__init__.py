"""What new blocks do to groups: additions nobody expects, markers that come again, what closes a group."""
