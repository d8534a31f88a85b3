// What the examples with records share: declaring a shipped kind, threads that begin together, and
// reading one number of a record.
#pragma once

#include <holdfast/holdfast.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace examples {

inline int Report(const holdfast::Error& error) {
  std::cerr << InfoOf(error.code).name << ": " << error.message << "\n";
  return 1;
}

/// Declares the kind by the rules in FOLDER/NAME.json; does nothing if it has these rules already.
inline holdfast::Result<holdfast::Kind> DeclareKind(holdfast::Store& store,
                                                    const std::string& folder,
                                                    const std::string& name) {
  std::ifstream file(folder + "/" + name + ".json");
  std::ostringstream rules;
  if (!(rules << file.rdbuf())) {
    return holdfast::Fail(holdfast::ErrorCode::kNotFound,
                          "there is no " + folder + "/" + name + ".json");
  }
  return store.Apply({}, {.name = name, .rules = rules.str()});
}

/// Runs `body(i)` on that many threads, which begin together.
template <typename Body>
void RunThreads(int count, Body body) {
  std::atomic<int> ready = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      ++ready;
      while (ready < count) std::this_thread::yield();
      body(i);
    });
  }
}

/// The number of that name at the top of a record's data, which the rules say is there. A program
/// with more to read uses its JSON library.
inline std::int64_t NumberIn(const holdfast::Record& record, const std::string& name) {
  std::size_t found = record.data.find("\"" + name + "\":");
  if (found == std::string::npos) return 0;
  return std::strtoll(record.data.c_str() + found + name.size() + 3, nullptr, 10);
}

}  // namespace examples
