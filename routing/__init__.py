"""Who exists and where a packet goes: the directory (danh mục) and the plan of routes. Pure values and functions."""
