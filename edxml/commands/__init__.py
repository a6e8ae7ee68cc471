"""Commands on packets, for `python -m edxml` and `truc packet`, and what every command line of ours stands on.

check, show, build, sign, change   what can be done with packets, without a node
files       where packets are read from and written to
running     one command from its arguments to its exit code; `exits`: exit codes
terminal    how everything is told; `language`, `usage`, `moments`: what people type
"""
