cannot limit locked memory of process 17 to 5000000000: Operation not permitted
