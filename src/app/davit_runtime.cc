// davit-runtime: the OCI runtime and, as `davit-runtime monitor`, the supervisor of one container.
#include "front/runtime/commands.h"

int main(int argc, char** argv) { return davit::front::runtime_main(argc, argv); }
