import sys

from keras_radn.cli.main import main

sys.exit(main())
