"""Arrays and tables in; figures and viewers for notebooks out."""
