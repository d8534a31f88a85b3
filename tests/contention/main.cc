// The contention tests, and the helper processes that some of them start.
#include "contention/processes.h"
#include "testing/helper_process.h"

int main(int argc, char** argv) {
  return holdfast::testing::RunHelperOrTests(argc, argv,
                                             {{"drain", holdfast::testing::RunDrainer},
                                              {"hold", holdfast::testing::RunHolder},
                                              {"wait", holdfast::testing::RunWaiter},
                                              {"lock", holdfast::testing::RunLocker},
                                              {"lock_wait", holdfast::testing::RunLockWaiter},
                                              {"lock_count", holdfast::testing::RunLockCounter},
                                              {"duplicate", holdfast::testing::RunDuplicator}});
}
