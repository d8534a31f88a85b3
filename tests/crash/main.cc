// The crash tests, and the process that they kill.
#include "crash/load.h"
#include "testing/helper_process.h"

int main(int argc, char** argv) {
  return holdfast::testing::RunHelperOrTests(argc, argv, {{"load", holdfast::testing::RunLoad}});
}
