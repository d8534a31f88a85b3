// The commands below holdfast bench.
#pragma once

#include "cli/cli.h"

namespace holdfast::cli {

void AddBenchJobs(Cli& cli, CLI::App& group);
void AddBenchClaim(Cli& cli, CLI::App& group);
void AddBenchWork(Cli& cli, CLI::App& group);
void AddBenchRecords(Cli& cli, CLI::App& group);
void AddBenchLocks(Cli& cli, CLI::App& group);

}  // namespace holdfast::cli
