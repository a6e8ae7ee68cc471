"""The proof (kiểm chứng): test agencies send and receive on a running installation; two ledgers are held against it."""
