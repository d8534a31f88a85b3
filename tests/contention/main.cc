#include "contention/processes.h"
#include "testing/helper_process.h"

int main(int argc, char** argv) {
  return holdfast::testing::RunHelperOrTests(argc, argv,
                                             {{"drain", holdfast::testing::RunDrainer},
                                              {"hold", holdfast::testing::RunHolder},
                                              {"wait", holdfast::testing::RunWaiter},
                                              {"duplicate", holdfast::testing::RunDuplicator}});
}
