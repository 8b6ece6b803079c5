/* A shared library in the middle of a call chain, with data of its own. */
int shared_counter = 1;

__attribute__((noinline)) int shared_level2(int (*next)(long), long tag)
{
    volatile long local_shared = tag * 1000 + 9;
    return next(tag) + (int)local_shared;
}
