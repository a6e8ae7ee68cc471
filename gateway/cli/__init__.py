"""`truc` on the command line: running a node, and everything an operator (quản trị viên) does by hand.

app        the tree of commands, its language, and what errors end in
process    starting and ending one process of a node; `lock`: whose a data folder is
opening    settings, lock and store for a command; `remote`: a node over the network
output     how everything is told; `exits`: exit codes
the others one module per noun
"""

from gateway.cli.app import main

__all__ = ["main"]
