// davit-image: the image store by hand.
#include "front/image/commands.h"

int main(int argc, char** argv) { return davit::front::image_main(argc, argv); }
