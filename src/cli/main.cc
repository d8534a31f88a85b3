// The holdfast binary.
#include "cli/cli.h"

int main(int argc, char** argv) {
  holdfast::cli::Cli cli;
  AddJobCommands(cli);
  AddWorkCommand(cli);
  AddServeCommand(cli);
  AddQueueCommands(cli);
  AddRecordCommands(cli);
  AddKindCommands(cli);
  AddTransferCommands(cli);
  AddLockCommands(cli);
  AddCommitCommand(cli);
  AddAuditCommands(cli);
  AddStoreCommands(cli);
  AddDoctorCommand(cli);
  AddRaceCommand(cli);
  AddBenchCommands(cli);
  AddTortureCommand(cli);
  AddCompletionCommand(cli);
  return cli.Run(argc, argv);
}
