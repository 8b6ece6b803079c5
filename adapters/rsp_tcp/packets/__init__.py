"""What each packet means: the table of handlers, and the handlers by kind."""
