"""Months (tháng): the parts of tables on PostgreSQL, what is archived and let go, and what must stay."""
