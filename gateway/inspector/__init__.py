"""The inspector: a process of its own that reads the signatures of PDFs, with little memory, time and rights.

    gateway.workers.inspect      picks what is due, starts this process, keeps verdicts; knows `jobs` alone of this room
    python -m gateway.inspector  reads one job per line, answers one inspection per line, ends when nobody asks

PDFs come from anybody and are the most complicated bytes that the node touches.  So nothing of them is opened in a
process that holds keys, connections or the store; and pyHanko's memory is spent only while there is work.
"""
